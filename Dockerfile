# JupyterLab with the course, for one person or as the image of a hub:
#     docker build -t d2lseg .
#     docker run --rm -p 8888:8888 d2lseg
FROM python:3.12-slim
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN useradd --create-home --uid 1000 student && install -d -o student /home/student/course
WORKDIR /home/student/course
COPY --chown=1000 . .
RUN python -m pip install --no-cache-dir torch torchvision --index-url "$TORCH_INDEX"
RUN python -m pip install --no-cache-dir -e ".[lab]"
RUN python -c "from d2lseg import fcn; fcn.pretrained('photos')"
USER student
EXPOSE 8888
CMD ["jupyter", "lab", "--ip=0.0.0.0", "--no-browser", "--LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb"]
